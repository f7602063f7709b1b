//go:build !linux

package main

import "errors"

func mountMemory(string, string) error { return errors.New("not on this system") }

func unmountMemory(string) error { return nil }
