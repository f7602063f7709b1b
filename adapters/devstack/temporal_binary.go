package devstack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/testsuite"
)

// temporalModule is the last version of the Temporal CLI that `go install` can build: later ones carry replace directives.
const temporalModule = "github.com/temporalio/cli/cmd/temporal@v1.5.1"

// temporalSource is one way to get at a Temporal CLI. get returns a path that can be run, or an error that says why not.
type temporalSource struct {
	name string
	get  func(ctx context.Context, binDir string, progress Progress) (string, error)
}

// temporalSources in the order in which they are tried.
var temporalSources = []temporalSource{
	{"kept", keptTemporal},
	{"PATH", pathTemporal},
	{"download", downloadTemporal},
	{"go install", buildTemporal},
}

// FindTemporal gives the path of a Temporal CLI: the one kept in binDir, else the machine's, else a download, else one
// built from source, which takes some minutes once. What was downloaded or built is kept in binDir. Processes that need
// one at the same time wait for the first of them.
func FindTemporal(ctx context.Context, binDir string, progress Progress) (string, error) {
	binDir, err := filepath.Abs(binDir)
	if err != nil {
		return "", fmt.Errorf("temporal: %w", err)
	}
	return findTemporal(ctx, binDir, temporalSources, progress)
}

func findTemporal(ctx context.Context, binDir string, sources []temporalSource, progress Progress) (string, error) {
	var reasons []string
	try := func(sources []temporalSource) (string, bool) {
		for _, source := range sources {
			path, err := source.get(ctx, binDir, progress)
			if err == nil {
				return path, true
			}
			reasons = append(reasons, source.name+": "+err.Error())
			if ctx.Err() != nil {
				return "", false
			}
		}
		return "", false
	}
	// What is there already needs no lock.
	const there = 2
	if path, ok := try(sources[:there]); ok {
		return path, nil
	}
	if err := os.MkdirAll(binDir, 0o755); err != nil {
		return "", fmt.Errorf("temporal: the folder to keep it in: %w", err)
	}
	lock, err := lockFile(ctx, filepath.Join(binDir, "temporal.lock"), func() {
		progress.say("waiting for another process that is getting the Temporal CLI")
	})
	if err != nil {
		return "", fmt.Errorf("temporal: wait for another process that is getting it: %w", err)
	}
	defer lock.Close()
	reasons = nil
	if path, ok := try(sources); ok {
		return path, nil
	}
	return "", fmt.Errorf("temporal: no CLI to run a server with (%s). Install it (https://docs.temporal.io/cli), or set ACCORD_TEMPORAL_ADDRESS to use a server that runs already",
		strings.Join(reasons, "; "))
}

func keptTemporal(_ context.Context, binDir string, _ Progress) (string, error) {
	path := filepath.Join(binDir, "temporal")
	// It got its name only once it was whole, so there is nothing to prove.
	if _, err := os.Stat(path); err != nil {
		return "", errors.New("none yet")
	}
	return path, nil
}

func pathTemporal(ctx context.Context, _ string, _ Progress) (string, error) {
	path, err := exec.LookPath("temporal")
	if err != nil {
		return "", errors.New("none")
	}
	return path, canServe(ctx, path)
}

// canServe tells whether the CLI at path knows the flags we start the server with.
func canServe(ctx context.Context, path string) error {
	limit, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	help, err := exec.CommandContext(limit, path, "server", "start-dev", "--help").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s does not run: %w", path, err)
	}
	for _, flag := range []string{"--sqlite-pragma", "--dynamic-config-value", "--headless", "--ui-ip"} {
		if !bytes.Contains(help, []byte(flag)) {
			return fmt.Errorf("%s is too old, it has no %s", path, flag)
		}
	}
	return nil
}

// downloadTemporal has the SDK download the CLI. Where the network refuses or swallows the request, it gives up soon.
func downloadTemporal(ctx context.Context, binDir string, progress Progress) (string, error) {
	const (
		untilFirstByte = 10 * time.Second
		most           = 3 * time.Minute
	)
	progress.say("looking for a Temporal CLI to download")
	scratch, err := os.MkdirTemp(binDir, "temporal-download-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	limit, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	// The SDK makes its file when the answer starts to come.
	stalled := time.AfterFunc(untilFirstByte, func() {
		if entries, _ := os.ReadDir(scratch); len(entries) == 0 {
			cancel()
		}
	})
	defer stalled.Stop()
	// The download is the first part of a start. The start itself is ours to do (the SDK's server would outlive a killed
	// parent), so it gets an address that it must refuse.
	server, err := testsuite.StartDevServer(limit, testsuite.DevServerOptions{
		CachedDownload: testsuite.CachedDownload{DestDir: scratch},
		ClientOptions:  &client.Options{HostPort: "download only", Logger: quiet},
		Stdout:         io.Discard, Stderr: io.Discard,
	})
	if err == nil { // not in any version known
		_ = server.Stop()
	}
	found, _ := filepath.Glob(filepath.Join(scratch, "temporal-cli-go-sdk-*"))
	if len(found) != 1 {
		return "", fmt.Errorf("not to be had (%w)", err)
	}
	if err := canServe(ctx, found[0]); err != nil {
		return "", err
	}
	return keep(found[0], binDir)
}

// buildTemporal builds the CLI from source.
func buildTemporal(ctx context.Context, binDir string, progress Progress) (string, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", errors.New("there is no Go to build it with")
	}
	return goInstall(ctx, goTool, binDir, progress)
}

func goInstall(ctx context.Context, goTool, binDir string, progress Progress) (string, error) {
	scratch, err := os.MkdirTemp(binDir, "temporal-build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	log, err := openNamelessLog()
	if err != nil {
		return "", err
	}
	defer log.Close()

	cmd := exec.Command(goTool, "install", "-ldflags=-s -w", temporalModule)
	cmd.Dir = scratch
	// The flags and platform of whatever is being worked on are not for this build.
	cmd.Env = append(os.Environ(), "GOBIN="+scratch, "GOFLAGS=", "GOWORK=off", "GOOS=", "GOARCH=", "CGO_ENABLED=0")
	began := time.Now()
	progress.say(fmt.Sprintf("building the Temporal CLI (%s), a few minutes, once", temporalModule))
	c, err := startChild("go install", cmd, log, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			progress.say(fmt.Sprintf("still building the Temporal CLI, %s so far", time.Since(began).Round(time.Second)))
			continue
		case <-ctx.Done():
			_ = syscall.Kill(-c.pid(), syscall.SIGKILL) // the compilers too
			<-c.exited
			return "", ctx.Err()
		case <-c.exited:
		}
		break
	}
	if c.err != nil {
		return "", fmt.Errorf("%s: %w: %s", temporalModule, c.err, c.tail())
	}
	progress.say(fmt.Sprintf("built the Temporal CLI in %s", time.Since(began).Round(time.Second)))
	return keep(filepath.Join(scratch, "temporal"), binDir)
}

// keep moves a whole CLI to its name, in one step: an interrupted download or build is never taken for one.
func keep(path, binDir string) (string, error) {
	kept := filepath.Join(binDir, "temporal")
	return kept, os.Rename(path, kept)
}
