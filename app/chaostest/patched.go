package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"accord/app/systemtest/process"
)

// Where the patches are, from the checkout's root.
const (
	patches     = "app/chaostest/testdata"
	nextVersion = patches + "/next.patch"
)

var patchedFile = regexp.MustCompile(`(?m)^\+\+\+ b/(\S+)`)

// buildPatched builds the command with patches applied.
func buildPatched(ctx context.Context, path, id string, patches []string) error {
	return patched(ctx, patches, func(overlay string) error {
		return process.Build(ctx, path, "-overlay", overlay, "-ldflags", "-s -w -X main.buildID="+id) // quicker to link
	})
}

// testPatched runs a test with a patch applied: a failedError when it fails, as it should.
func testPatched(ctx context.Context, patch string, arguments []string) error {
	return patched(ctx, []string{patch}, func(overlay string) error {
		goTest := func(more ...string) ([]byte, error) {
			cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1"}, more...)...) //nolint:gosec // what a patch of ours says
			cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay)    // tests build the command, too
			return cmd.CombinedOutput()
		}
		if out, err := goTest("-run", "^$", arguments[0]); err != nil {
			return fmt.Errorf("%s cannot be tested at all: %w\n%s", arguments[0], err, out)
		}
		out, err := goTest(arguments...)
		if failed := failingTest.FindAllSubmatch(out, -1); err != nil && len(failed) > 0 {
			return failedError{string(failed[len(failed)-1][1])}
		}
		return err
	})
}

// failedError: a test has failed.
type failedError struct{ test string }

func (e failedError) Error() string { return "a test of its own fails: " + e.test }

var failingTest = regexp.MustCompile(`--- FAIL: (\S+)`)

// patched applies patches to copies of the files that they touch: the checkout stays as it is, and no switch for it is in what is
// shipped. What the go command takes for -overlay is there while use runs.
func patched(ctx context.Context, patches []string, use func(overlay string) error) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "accord-patched-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	replaced := map[string]string{}
	for _, patch := range patches {
		if err := applyPatch(ctx, root, patch, dir, replaced); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return err
	}
	return use(file)
}

// applyPatch applies one in dir, to copies of what it touches below root, and adds to replaced which file is replaced by which.
func applyPatch(ctx context.Context, root, patch, dir string, replaced map[string]string) error {
	text, err := os.ReadFile(patch)
	if err != nil {
		return err
	}
	for _, m := range patchedFile.FindAllStringSubmatch(string(text), -1) {
		from, to := filepath.Join(root, m[1]), filepath.Join(dir, m[1])
		if replaced[from] != "" {
			continue
		}
		if err := copyFile(from, to); err != nil {
			return fmt.Errorf("%s: %w", patch, err)
		}
		replaced[from] = to
	}
	absolute, err := filepath.Abs(patch)
	if err != nil {
		return err
	}
	apply := exec.CommandContext(ctx, "git", "apply", "-C1", absolute) //nolint:gosec // one of ours
	apply.Dir = dir
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not fit any more: %w\n%s", patch, err, out)
	}
	return nil
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from) //nolint:gosec // of this checkout
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil { //nolint:gosec // a temporary folder
		return err
	}
	return os.WriteFile(to, text, 0o600) //nolint:gosec // below a temporary folder
}
