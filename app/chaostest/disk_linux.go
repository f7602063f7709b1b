package main

import "syscall"

func mountMemory(path, options string) error {
	return syscall.Mount("accord-chaos", path, "tmpfs", 0, options+",mode=755")
}

func unmountMemory(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }
