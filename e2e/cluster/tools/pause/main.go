// Command pause does nothing until it is told to stop.
//
// It is the first process of every pod sandbox, and of the process namespace
// that the node's own components run in. A first process has two duties: it
// ends at once on SIGTERM, and it collects processes whose parent has gone.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	orphans := make(chan os.Signal, 1)
	signal.Notify(orphans, syscall.SIGCHLD)
	for {
		select {
		case <-stop:
			os.Exit(0)
		case <-orphans:
			collect()
		}
	}
}

// collect takes every ended child: one signal can stand for several of them.
func collect() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
