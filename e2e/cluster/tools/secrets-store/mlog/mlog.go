// Package mlog stands for the library with which the driver logs: what the driver calls of it, by klog, of which that
// library is a layer. It is no part of what is tested, and no module proxy has to have it.
package mlog

import (
	"context"

	"k8s.io/klog/v2"
)

// LogFormat is how lines are written. Here they are always klog's own.
type LogFormat string

// The formats that the driver knows.
const (
	FormatText LogFormat = "text"
	FormatJSON LogFormat = "json"
)

// Setup gives what is to be called at the end.
func Setup() func() {
	return klog.Flush
}

// ValidateAndSetKlogLevelAndFormatGlobally leaves klog as its flags have it.
func ValidateAndSetKlogLevelAndFormatGlobally(context.Context, klog.Level, LogFormat) error {
	return nil
}

// Error logs an error.
func Error(message string, err error, pairs ...any) {
	klog.ErrorS(err, message, pairs...)
}

// Fatal logs an error and ends the program.
func Fatal(err error) {
	klog.ErrorS(err, "the driver can't go on")
	klog.FlushAndExit(klog.ExitFlushTimeout, 1)
}
