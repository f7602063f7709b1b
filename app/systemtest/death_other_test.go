//go:build unix && !linux

package systemtest

import "syscall"

// dieWithParent has no counterpart in this kernel: a test process that is killed leaves its children behind.
func dieWithParent(*syscall.SysProcAttr) {}
