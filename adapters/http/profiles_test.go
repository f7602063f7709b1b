package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfilesAreServedApartFromTheAPI(t *testing.T) {
	t.Parallel()
	newAPI(t).call("GET", "/debug/pprof/heap", "", "").is(404)
	for path, status := range map[string]int{"/debug/pprof/heap": 200, "/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/nothing": 404, "/metrics": 404} {
		answer := httptest.NewRecorder()
		NewProfiles().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, status, answer.Code, path)
	}
}
