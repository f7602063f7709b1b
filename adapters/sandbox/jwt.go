package sandbox

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// The vendor signs with RS512. The client never checks its tokens, so the sandbox signs with HS512: a shared secret
// gives the same token on every start without a key file.
const jwtHeader = `{"alg":"HS512","typ":"JWT"}`

var errBadToken = errors.New("token is not valid")

func signJWT(secret string, claims any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("sandbox: claims cannot be encoded: " + err.Error()) // only our own types get here
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString([]byte(jwtHeader)) + "." + enc.EncodeToString(payload)
	return signed + "." + enc.EncodeToString(jwtMAC(secret, signed))
}

// verifyJWT checks the signature of a token made by signJWT and decodes its claims.
func verifyJWT(secret, token string, claims any) error {
	cut := strings.LastIndexByte(token, '.')
	if cut < 0 {
		return errBadToken
	}
	signature, err := base64.RawURLEncoding.DecodeString(token[cut+1:])
	if err != nil || !hmac.Equal(signature, jwtMAC(secret, token[:cut])) {
		return errBadToken
	}
	_, payload, ok := strings.Cut(token[:cut], ".")
	if !ok {
		return errBadToken
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(raw, claims) != nil {
		return errBadToken
	}
	return nil
}

func jwtMAC(secret, signed string) []byte {
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(signed))
	return mac.Sum(nil)
}
