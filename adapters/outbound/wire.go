package outbound

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"accord/ports"
)

// maxDrain is how much of an answer nobody wants is read so that its connection can be used again.
const maxDrain = 64 << 10

func (c *Client) request(ctx context.Context, call ports.VendorCall) (*http.Request, error) {
	body, contentType, err := encode(call)
	if err != nil {
		return nil, err
	}
	address := c.cfg.BaseURL + "/" + strings.TrimLeft(call.Path, "/")
	if len(call.Query) > 0 {
		address += "?" + url.Values(call.Query).Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.Method, address, body)
	if err != nil {
		return nil, errors.New("method or path cannot be used") // the cause would repeat the path
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "accord")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if c.cfg.Authorize != nil {
		c.cfg.Authorize(req.Header)
	}
	for name, value := range call.Header {
		req.Header.Set(name, value)
	}
	c.tellTrace(ctx, req.Header)
	return req, nil
}

func encode(call ports.VendorCall) (io.Reader, string, error) {
	switch {
	case call.In != nil && call.Form != nil:
		return nil, "", errors.New("a call has either In or Form")
	case call.Form != nil:
		form := url.Values{}
		for name, value := range call.Form {
			form.Set(name, value)
		}
		return strings.NewReader(form.Encode()), "application/x-www-form-urlencoded", nil
	case call.In != nil:
		raw, err := json.Marshal(call.In)
		if err != nil {
			return nil, "", fmt.Errorf("the body cannot be encoded: %T", err) // the cause may repeat a value
		}
		return bytes.NewReader(raw), "application/json", nil
	}
	return nil, "", nil
}

// decode reads the whole answer. One that is there must be one whole JSON value even when nobody wants it: a gateway's
// maintenance page with status 200 is not the vendor's word that it did something. A 202 and a 204 may be without one.
func decode(body io.Reader, status int, limit int64, out any) error {
	raw, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return err
	case int64(len(raw)) > limit:
		return errors.New("answer is longer than we read")
	case len(raw) == 0 && (out == nil || status == http.StatusAccepted || status == http.StatusNoContent):
		return nil
	case !json.Valid(raw):
		return errors.New("answer is not one whole JSON value")
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("answer is not of the shape we know: %T", err) // the cause may repeat a value
	}
	return nil
}

func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxDrain) }
