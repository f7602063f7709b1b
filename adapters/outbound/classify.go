package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"accord/domain/preference"
	"accord/ports"
)

// This file decides what a failed call means, for every vendor:
//
//	what happened                            class      code                  MaybeDone
//	no connection (refused, DNS, TLS)        Transient  connection, timeout   no
//	cut or too slow once connected           Transient  connection, timeout   when it writes
//	408, 5xx                                 Transient  timeout, server_error when it writes
//	429                                      Transient  rate_limited          no
//	2xx that makes no sense, or is cut off   Transient  malformed             when it writes
//	3xx, 1xx                                 Transient  malformed             when it writes
//	credentials refused                      Transient  credentials           no
//	other 4xx                                Refused    refused               no
//	our own rate limit is used up            Transient  rate_limited_locally  no
//	circuit breaker is open                  Transient  circuit_open          no
//	we cannot even put the call together     Refused    unsendable            no
//
// Refused credentials are about us and not about the customer's change. An operator renews the key and everything goes
// on: withdrawals wait for that instead of being parked one by one, grants run out of time and are compensated. 401
// always means that. 403 means, by the standard, "understood, and no": it is Refused, unless the vendor is known to
// answer it for a bad key (Config.CredentialStatuses).
//
// 429 is taken at its word: the vendor counted the call and did not do it.

// The codes of what is decided here.
const (
	codeConnection     = "connection"
	codeTimeout        = "timeout"
	codeServerError    = "server_error"
	codeRateLimited    = "rate_limited"
	codeMalformed      = "malformed"
	codeCredentials    = "credentials"
	codeRefused        = "refused"
	codeLimitedLocally = "rate_limited_locally"
	codeCircuitOpen    = "circuit_open"
	codeUnsendable     = "unsendable"
)

type policy struct {
	target        preference.Target
	credentials   []int
	maxRetryAfter time.Duration
	now           func() time.Time
}

func (p policy) transient(code string, status int, maybeDone bool, cause error) *ports.TargetError {
	return &ports.TargetError{Target: p.target, Class: ports.Transient, Code: code, Status: status, MaybeDone: maybeDone, Err: cause}
}

func (p policy) limitedLocally() error { return p.transient(codeLimitedLocally, 0, false, nil) }

func (p policy) circuitOpen() error { return p.transient(codeCircuitOpen, 0, false, nil) }

func (p policy) unsendable(cause error) error {
	return &ports.TargetError{Target: p.target, Class: ports.Refused, Code: codeUnsendable, Err: cause}
}

// noAnswer is a call without a status. begun tells whether the vendor may have seen some of it.
func (p policy) noAnswer(call ports.VendorCall, err error, begun bool) error {
	code := codeConnection
	if timedOut(err) {
		code = codeTimeout
	}
	return p.transient(code, 0, call.Write && begun, loggable(err))
}

// status judges an answer by its status; nil when there is nothing wrong with it, or the caller handles it.
func (p policy) status(call ports.VendorCall, resp *http.Response) *ports.TargetError {
	code := resp.StatusCode
	switch {
	case code/100 == 2, slices.Contains(call.Expect, code):
		return nil
	case slices.Contains(p.credentials, code):
		return p.transient(codeCredentials, code, false, nil)
	case code == http.StatusTooManyRequests:
		e := p.transient(codeRateLimited, code, false, nil)
		e.RetryAfter = p.rateReset(resp.Header)
		return e
	case code == http.StatusRequestTimeout:
		e := p.transient(codeTimeout, code, call.Write, nil)
		e.RetryAfter = p.retryAfter(resp.Header)
		return e
	case code/100 == 4:
		return &ports.TargetError{Target: p.target, Class: ports.Refused, Code: codeRefused, Status: code}
	case code/100 == 5:
		e := p.transient(codeServerError, code, call.Write, nil)
		e.RetryAfter = p.retryAfter(resp.Header)
		return e
	}
	return p.transient(codeMalformed, code, call.Write, nil)
}

// badBody is a 2xx whose body was cut off or makes no sense.
func (p policy) badBody(call ports.VendorCall, status int, err error) error {
	code := codeMalformed
	if timedOut(err) {
		code = codeTimeout
	}
	return p.transient(code, status, call.Write, loggable(err))
}

// retryAfter is how long the vendor asks us to wait, in seconds or as a date; 0 when it does not say, or the time is over.
func (p policy) retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		seconds = min(max(seconds, 0), int64(p.maxRetryAfter/time.Second)+1) // before it can overflow a Duration
		return p.bounded(time.Duration(seconds) * time.Second)
	}
	if date, err := http.ParseTime(value); err == nil {
		return p.bounded(date.Sub(p.now()))
	}
	return 0
}

// rateReset is retryAfter for a 429: without Retry-After it is the time at which the rate limit's window ends
// (x-ratelimit-reset, epoch seconds). Braze sends that with every answer, so elsewhere it asks for nothing.
func (p policy) rateReset(h http.Header) time.Duration {
	reset, err := strconv.ParseInt(strings.TrimSpace(h.Get("X-Ratelimit-Reset")), 10, 64)
	if h.Get("Retry-After") != "" || err != nil {
		return p.retryAfter(h)
	}
	return p.bounded(time.Unix(reset, 0).Sub(p.now()))
}

func (p policy) bounded(wait time.Duration) time.Duration { return min(max(wait, 0), p.maxRetryAfter) }

type vendorHealth int

const (
	vendorUp vendorHealth = iota
	vendorDown
	saysNothing
)

// health is what a call's outcome tells the circuit breaker about the vendor as a whole. A refusal is a sign of life. A
// 429 may be about one customer (OneSignal allows one write per second and user) and carries its own waiting time;
// refused credentials must stay visible as such, and not hide behind an open circuit.
func health(err error) vendorHealth {
	if err == nil {
		return vendorUp
	}
	failure, is := ports.AsTargetError(err)
	switch {
	case !is: // the caller gave up
		return saysNothing
	case failure.Class == ports.Refused && failure.Code != codeUnsendable:
		return vendorUp
	case failure.Code == codeConnection, failure.Code == codeTimeout, failure.Code == codeServerError, failure.Code == codeMalformed:
		return vendorDown
	}
	return saysNothing
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

func dialFailed(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// loggable keeps a cause only when its text is known to hold nothing of the call: *url.Error repeats the address, and
// with it a customer's id, and protocol errors repeat what the vendor sent.
func loggable(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	var (
		op        *net.OpError
		dns       *net.DNSError
		host      x509.HostnameError
		authority x509.UnknownAuthorityError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		errno     syscall.Errno
	)
	for _, target := range []any{&op, &dns, &host, &authority, &invalid, &verify, &errno} {
		if errors.As(err, target) {
			return err
		}
	}
	for _, known := range []error{context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, known) {
			return known
		}
	}
	return fmt.Errorf("%T", err)
}
