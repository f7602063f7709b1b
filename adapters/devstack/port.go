package devstack

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"
)

const loopback = "127.0.0.1"

// The settings that move a port of the development stack, named in the error about a taken one.
const (
	PostgresPortSetting   = "ACCORD_POSTGRES_PORT"
	TemporalPortSetting   = "ACCORD_TEMPORAL_PORT"
	TemporalUIPortSetting = "ACCORD_TEMPORAL_UI_PORT"
)

// CheckPort tells whether port can be listened on at 127.0.0.1. The error says so in words for the person who started
// Accord and names setting, the environment variable that moves it.
func CheckPort(setting string, port int) error {
	if port < 1 || port > 65535 {
		return fmt.Errorf("%s: %d is not a port (1 to 65535)", setting, port)
	}
	address := net.JoinHostPort(loopback, strconv.Itoa(port))
	// Where addresses may overlap (macOS), listening succeeds beside a server on all interfaces; a connection finds it.
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		_ = conn.Close()
		return taken(setting, port)
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case err == nil:
		return listener.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return taken(setting, port)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d needs rights that this process does not have; set %s to another one (1024 or above)", port, setting)
	default:
		return fmt.Errorf("%s: %w", setting, err)
	}
}

func taken(setting string, port int) error {
	return fmt.Errorf("port %d is taken by another process; end that one or set %s to another port", port, setting)
}

// freePort gives a port that was free a moment ago. Another process may take it before its user does, so users try again.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
