//go:build tools

// Package tools keeps the modules that Vault's Kubernetes auth method is built from in go.mod.
package tools

import _ "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes"
