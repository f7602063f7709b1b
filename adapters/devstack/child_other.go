//go:build unix && !linux

package devstack

import "syscall"

func setDeathSignal(*syscall.SysProcAttr, syscall.Signal) {}

// watchParent stands in for the death signal, which only Linux has.
func watchParent(c *child, s syscall.Signal) error { return startWatchdog(c, s) }
