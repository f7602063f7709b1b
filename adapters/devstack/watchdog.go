//go:build unix

package devstack

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// startWatchdog starts a shell that signals the child as soon as this process is gone. It notices by the end of a pipe
// whose other end only this process holds: that closes with the process even when it is killed.
func startWatchdog(c *child, s syscall.Signal) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	// A line on the pipe stands it down, and the end of the pipe sends the signal. The child's number can't be another
	// process's by then: while this process lives it stands the watchdog down before the number is free again.
	dog := exec.Command("/bin/sh", "-c", `read -r line || kill -`+strconv.Itoa(int(s))+` "$1"`, "watchdog", strconv.Itoa(c.pid()))
	dog.Stdin = read
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = dog.Start()
	_ = read.Close()
	if err != nil {
		_ = write.Close()
		return err
	}
	go func() {
		<-c.exited
		_, _ = write.WriteString("stand down\n")
		_ = dog.Wait()
		_ = write.Close()
	}()
	return nil
}
