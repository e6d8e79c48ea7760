//go:build tools

package main

// Keeps kubectl's modules in go.mod; it is built as a program of its own.
import _ "k8s.io/kubernetes/cmd/kubectl"
