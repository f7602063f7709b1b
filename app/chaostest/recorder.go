package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"

	"accord/app/chaostest/checker"
)

// recorder writes the history, one line for each call, event and disturbance.
type recorder struct {
	mu   sync.Mutex
	file *os.File
	out  *bufio.Writer
	err  error
}

func newRecorder(path string) (*recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &recorder{file: f, out: bufio.NewWriterSize(f, 1<<20)}, nil
}

func (r *recorder) call(c *checker.Call)            { r.line(c) }
func (r *recorder) heard(h checker.Heard)           { r.line(h) }
func (r *recorder) disturbed(d checker.Disturbance) { r.line(d) }

func (r *recorder) line(v any) {
	raw, err := json.Marshal(v)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.file != nil {
		_, err = r.out.Write(append(raw, '\n'))
	}
	if err != nil && r.err == nil {
		r.err = err
	}
}

func (r *recorder) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.out.Flush(); err != nil && r.err == nil {
		r.err = err
	}
	if err := r.file.Close(); err != nil && r.err == nil {
		r.err = err
	}
	r.file = nil
	return r.err
}
