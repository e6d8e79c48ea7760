//go:build tools

// Package tools keeps the modules that CoreDNS is built from in go.mod.
package tools

import _ "github.com/coredns/coredns"
