package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"
)

// wire is an HTTP client that costs next to nothing, because it shares the processors with what is measured: requests are
// bytes that were made before, and of an answer it reads the status, the length, the tag and, when asked, the body.
type wire struct {
	addr string
	idle chan *line
}

// line is one connection.
type line struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

// answer is what came back. body and etag are good until the line is used again.
type answer struct {
	status int
	etag   string
	body   []byte
}

func newWire(b *testing.B, addr string, lines int) *wire {
	b.Helper()
	w := &wire{addr: addr, idle: make(chan *line, lines)}
	for range lines {
		l := &line{}
		b.Cleanup(func() { l.close() })
		w.idle <- l
	}
	return w
}

// dial connects when the first request is there: a server hangs up on those who say nothing.
func (l *line) dial(addr string) (err error) {
	if l.conn != nil {
		return nil
	}
	if l.conn, err = net.Dial("tcp", addr); err == nil {
		l.in = bufio.NewReaderSize(l.conn, 64<<10)
	}
	return err
}

func (l *line) close() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// do sends one request and hands the answer to look, which may be nil.
func (w *wire) do(_ context.Context, request []byte, want int, look func(answer)) error {
	l := <-w.idle
	defer func() { w.idle <- l }()
	if err := l.dial(w.addr); err != nil {
		return err
	}
	if err := l.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := l.conn.Write(request); err != nil {
		return err
	}
	a, err := l.read()
	if err != nil {
		return err
	}
	if a.status != want {
		return fmt.Errorf("answered %d: %s", a.status, a.body)
	}
	if look != nil {
		look(a)
	}
	return nil
}

func (l *line) read() (a answer, err error) {
	first, err := l.in.ReadSlice('\n')
	if err != nil || len(first) < 12 {
		return a, fmt.Errorf("no status line: %w", err)
	}
	if a.status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return a, err
	}
	length, chunked := 0, false
	for {
		header, err := l.in.ReadSlice('\n')
		if err != nil {
			return a, err
		}
		if len(header) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(header, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return a, err
			}
		case bytes.EqualFold(name, []byte("Etag")):
			a.etag = string(bytes.TrimSpace(value))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		}
	}
	l.body = l.body[:0]
	if !chunked {
		err = l.more(length)
	}
	for chunked && err == nil {
		var size []byte
		if size, err = l.in.ReadSlice('\n'); err != nil {
			break
		}
		n, bad := strconv.ParseInt(string(bytes.TrimSpace(size)), 16, 32)
		if err = bad; err == nil {
			err = l.more(int(n))
		}
		if err == nil {
			_, err = l.in.Discard(len("\r\n"))
		}
		chunked = n > 0
	}
	a.body = l.body
	return a, err
}

// more reads so many bytes of a body.
func (l *line) more(n int) error {
	had := len(l.body)
	l.body = slices.Grow(l.body, n)[:had+n]
	_, err := io.ReadFull(l.in, l.body[had:])
	return err
}

// request makes the bytes of one.
func request(method, path string, body string, headers ...string) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: bench\r\n", method, path)
	for i := 0; i < len(headers); i += 2 {
		fmt.Fprintf(&out, "%s: %s\r\n", headers[i], headers[i+1])
	}
	if method != "GET" {
		fmt.Fprintf(&out, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	out.WriteString("\r\n" + body)
	return out.Bytes()
}

func readerOf(request []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(request)) }

// overhead is what making a request and a recorder allocates by itself.
func overhead(request []byte) float64 {
	return testing.AllocsPerRun(50, func() {
		req, err := http.ReadRequest(readerOf(request))
		if err != nil {
			panic(err) // a request of ours that is none
		}
		rec := httptest.NewRecorder()
		rec.WriteHeader(http.StatusOK)
		_ = req
	})
}
