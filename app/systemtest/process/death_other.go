//go:build unix && !linux

package process

import "syscall"

// dieWithParent has no counterpart in this kernel: whoever started them and is killed leaves its children behind.
func dieWithParent(*syscall.SysProcAttr) {}
