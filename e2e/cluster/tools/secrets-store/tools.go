//go:build tools

// What the driver is built from is kept in go.mod.
package main

import _ "sigs.k8s.io/secrets-store-csi-driver/cmd/secrets-store-csi-driver"
