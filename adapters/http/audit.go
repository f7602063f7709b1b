package httpapi

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"accord/domain/fault"
	"accord/domain/preference"
)

// GetOwnAudit answers with the customer's own ledger.
func (s *server) GetOwnAudit(g *gin.Context, params GetOwnAuditParams) {
	s.audit(g, exchangeOf(g).customer, params.Cursor, limitOf(params.Limit), true)
}

// GetCustomerAudit answers with anybody's ledger.
func (s *server) GetCustomerAudit(g *gin.Context, id CustomerId, params GetCustomerAuditParams) {
	if customer, ok := s.customerInPath(g, id); ok {
		s.audit(g, customer, params.Cursor, limitOf(params.Limit), false)
	}
}

func (s *server) audit(g *gin.Context, customer preference.CustomerID, cursor *Cursor, limit int, toCustomer bool) {
	below, err := readAuditCursor(textOf(cursor))
	if err != nil {
		s.fail(g, err)
		return
	}
	links, err := s.preferences.Audit(g.Request.Context(), customer, below, limit)
	if err != nil {
		s.fail(g, err)
		return
	}
	page := AuditPage{Entries: []AuditEntry{}}
	for _, l := range links {
		page.Entries = append(page.Entries, presentEntry(l, toCustomer))
	}
	// Entries count from 1 without a gap, so the last one tells whether there are more.
	if n := len(links); n > 0 && links[n-1].Seq > 1 {
		page.NextCursor = textOrNull(auditCursor(links[n-1].Seq))
	}
	answerJSON(g, http.StatusOK, page)
}

const auditCursorPrefix = "audit:"

func auditCursor(below int64) string { return countCursor(auditCursorPrefix, below) }

// readAuditCursor is 0, the newest, for an empty cursor.
func readAuditCursor(cursor string) (int64, error) { return readCountCursor(auditCursorPrefix, cursor) }

// countCursor goes on at a number of a list.
func countCursor(list string, n int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + strconv.FormatInt(n, 10)))
}

// readCountCursor takes what countCursor has made for this list, to the letter. It is 0 for an empty cursor.
func readCountCursor(list, cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(cursor)
	n, err := strconv.ParseInt(strings.TrimPrefix(string(text), list), 10, 64)
	if err != nil || n < 1 || countCursor(list, n) != cursor {
		return 0, fault.OnField("cursor", "bad_cursor", "is not a next_cursor of this list")
	}
	return n, nil
}
