// Package subscribers sends webhooks to addresses that others have given us, so it trusts none of them: it follows no
// redirect, goes through no proxy, and reaches into no network of ours, whatever a name resolves to.
package subscribers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"accord/domain/fault"
	"accord/domain/webhook"
	"accord/ports"
)

const (
	timeout   = 15 * time.Second
	maxAnswer = 64 << 10 // read, so that the connection can be used again
	maxURL    = 2048
)

// Sender implements ports.WebhookSender.
type Sender struct {
	client *http.Client
	local  bool
}

var _ ports.WebhookSender = (*Sender)(nil)

var errNotAllowed = errors.New("the address is in a network that webhooks must not reach")

// New makes a sender. local is for development alone: it lets addresses on this machine be reached, without TLS too.
func New(local bool) *Sender {
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !allowed(at.Addr(), local) { // the address that is dialled, after the name was resolved
			return errNotAllowed
		}
		return nil
	}}
	return &Sender{local: local, client: &http.Client{Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{Proxy: nil, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, MaxConnsPerHost: 16,
			IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 32 << 10}}}
}

// reserved are networks that are nobody's outside, beyond those that net/netip knows.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("100::/64"),
}

func allowed(a netip.Addr, local bool) bool {
	a = a.Unmap().WithZone("")
	if a.IsLoopback() {
		return local
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, network := range reserved {
		if network.Contains(a) {
			return false
		}
	}
	return true
}

// Check implements ports.WebhookSender.
func (s *Sender) Check(address string) error {
	u, err := url.Parse(address)
	bad := func(code, message string) error { return fault.OnField("url", code, "%s", message) }
	switch {
	case err != nil || len(address) > maxURL || u.Hostname() == "" || u.Opaque != "":
		return bad("bad_format", "must be an https address")
	case u.User != nil || u.Fragment != "":
		return bad("not_allowed", "must have neither a user nor a fragment")
	}
	host := strings.ToLower(strings.TrimRight(u.Hostname(), "."))
	named := host == "localhost" || strings.HasSuffix(host, ".localhost")
	ip, notIP := netip.ParseAddr(host)
	onThisMachine := s.local && (named || notIP == nil && ip.Unmap().IsLoopback())
	switch {
	case u.Scheme == "http" && onThisMachine, u.Scheme == "https":
	default:
		return bad("not_allowed", "must be an https address")
	}
	if host == "" || named && !s.local || notIP == nil && !allowed(ip, s.local) {
		return bad("not_allowed", "must not be in a private network")
	}
	return nil
}

// Send implements ports.WebhookSender.
func (s *Sender) Send(ctx context.Context, address string, m ports.OutgoingWebhook) (r ports.DeliveryResult) {
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	if s.Check(address) != nil { // a rule that was made after the endpoint
		return ports.DeliveryResult{Code: "not_allowed"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(m.Body))
	if err != nil {
		return ports.DeliveryResult{Code: "not_allowed"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Accord-Webhooks/1")
	req.Header.Set(webhook.HeaderID, m.ID)
	req.Header.Set(webhook.HeaderTimestamp, m.Timestamp)
	req.Header.Set(webhook.HeaderSignature, m.Signature)
	res, err := s.client.Do(req)
	if err != nil {
		return ports.DeliveryResult{Code: codeOf(err)}
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // what it says is of no interest
	r.Status = res.StatusCode
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
	case res.StatusCode >= 300 && res.StatusCode < 400:
		r.Code = "redirect"
	default:
		r.Code = "status"
	}
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
		r.RetryAfter = retryAfter(res.Header.Get("Retry-After"), time.Now())
	}
	return r
}

// codeOf keeps the cause out: it may name what is in our own network.
func codeOf(err error) string {
	var network net.Error
	switch {
	case errors.Is(err, errNotAllowed):
		return "not_allowed"
	case errors.As(err, &network) && network.Timeout():
		return "timeout"
	}
	return "connection"
}

func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
