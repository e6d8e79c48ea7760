//go:build tools

// Package tools keeps the modules that Argo CD is built from in go.mod.
package tools

import _ "github.com/argoproj/argo-cd/v3/cmd"
