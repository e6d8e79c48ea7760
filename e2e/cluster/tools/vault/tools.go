//go:build tools

// Package tools keeps the modules that Vault is built from in go.mod.
package tools

import _ "github.com/hashicorp/vault"
