package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

const retiring = `
openapi: 3.0.3
info: { title: Small, version: "1" }
paths:
  /v1/old/{id}:
    get:
      operationId: getOld
      deprecated: true
      x-deprecated-at: "2026-01-01"
      x-sunset: "2026-05-01"
      x-successor: /v1/new
      security: []
      parameters: [{ name: id, in: path, required: true, schema: { type: string } }]
      responses: { "200": { description: ok } }
  /v1/new:
    get: { operationId: getNew, security: [], responses: { "200": { description: ok } } }
`

func TestDeprecatedOperationsSaySo(t *testing.T) {
	t.Parallel()
	c, err := readContract([]byte(retiring))
	require.NoError(t, err)
	engine, err := newGin()
	require.NoError(t, err)
	engine.Use(identify(c), announceRetirement)
	engine.GET("/v1/old/:id", func(g *gin.Context) { notFound(g) })
	engine.GET("/v1/new", func(g *gin.Context) { g.Status(http.StatusOK) })

	rec := httptest.NewRecorder()
	engine.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/old/7", nil))
	require.Equal(t, http.StatusNotFound, rec.Code)
	require.Equal(t, "@1767225600", rec.Header().Get("Deprecation"))
	require.Equal(t, "Fri, 01 May 2026 00:00:00 GMT", rec.Header().Get("Sunset"))
	require.Equal(t, []string{`</docs#getOld>; rel="deprecation"; type="text/html"`, `</v1/new>; rel="successor-version"`}, rec.Header().Values("Link"))

	rec = httptest.NewRecorder()
	engine.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v1/new", nil))
	for _, name := range []string{"Deprecation", "Sunset", "Link"} {
		require.Empty(t, rec.Header().Values(name))
	}
}

func TestDeprecationWithoutDueNoticeMustNotStart(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{
		strings.Replace(retiring, "2026-05-01", "2026-04-30", 1),
		strings.Replace(retiring, `x-sunset: "2026-05-01"`, "", 1),
		strings.Replace(retiring, `x-deprecated-at: "2026-01-01"`, "", 1),
		strings.Replace(retiring, "2026-01-01", "soon", 1),
	} {
		_, err := readContract([]byte(doc))
		require.ErrorContains(t, err, "deprecated operation")
	}
}
