package process

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
)

// Run runs the accord command to its end and gives what it printed. Its exit is an *exec.ExitError.
func Run(ctx context.Context, path string, env []string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, arguments...) //nolint:gosec // the command under test
	var problems bytes.Buffer
	cmd.Env, cmd.Stderr = env, &problems
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("accord %v: %w: %s", arguments, err, &problems)
	}
	return string(out), nil
}

var exported = regexp.MustCompile(`(?m)^export (\w+)='(.*)'$`)

// Vendors are the settings that lead to a sandbox at an address, as `accord sandbox env` tells them to a shell.
func Vendors(ctx context.Context, path string, env []string, address string) (settings []string, err error) {
	told, err := Run(ctx, path, append(slices.Clone(env), "ACCORD_SANDBOX_ADDR="+address), "sandbox", "env")
	for _, m := range exported.FindAllStringSubmatch(told, -1) {
		settings = append(settings, m[1]+"="+m[2])
	}
	return settings, err
}

// FreeAddr is an address on this machine where nobody listens just now; empty when there is none.
func FreeAddr() string {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a port of our own
	if err != nil {
		return ""
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Answers is nil when a GET of the address is answered with 200.
func Answers(ctx context.Context, client *http.Client, address string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", address, res.StatusCode)
	}
	return nil
}
