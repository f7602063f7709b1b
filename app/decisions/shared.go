package decisions

import (
	"encoding/base64"
	"strings"

	"accord/ports"
)

// sharedSecret is the secret that a message carries as it is, empty for none: the value of the source's own header, or
// what is in Authorization as a bearer token or as a password.
func sharedSecret(src ports.WebhookSource, m ports.WebhookMessage) string {
	if src.Header != "" && !strings.EqualFold(src.Header, "authorization") {
		return m.Header(strings.ToLower(src.Header))
	}
	scheme, credentials, _ := strings.Cut(strings.TrimSpace(m.Header("authorization")), " ")
	credentials = strings.TrimSpace(credentials)
	switch {
	case strings.EqualFold(scheme, "bearer"):
		return credentials
	case strings.EqualFold(scheme, "basic"):
		plain, err := base64.StdEncoding.DecodeString(credentials)
		if err != nil || base64.StdEncoding.EncodeToString(plain) != credentials { // written in another way
			return ""
		}
		_, password, _ := strings.Cut(string(plain), ":")
		return password
	}
	return ""
}
