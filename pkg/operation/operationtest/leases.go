package operationtest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	coordv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Leases is an API server that has one Lease, and counts what else is asked of it.
type Leases struct {
	mu       sync.Mutex
	Lease    *coordv1.Lease // nil: there is none
	Renewals int
	Others   int
	// Late are renewals that arrive one by one, each right after the Lease was read.
	Late int
}

func (s *Leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	status := func(code int, reason metav1.StatusReason) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Failure", Reason: reason, Code: int32(code)})
	}
	switch {
	case !strings.Contains(r.URL.Path, "/leases"):
		s.Others++
	case r.Method == http.MethodPost && s.Lease == nil:
		lease := Held("", "")
		if err := json.NewDecoder(r.Body).Decode(lease); err != nil {
			status(http.StatusBadRequest, metav1.StatusReasonBadRequest)
			return
		}
		s.Lease = lease
	case r.Method == http.MethodPost:
		status(http.StatusConflict, metav1.StatusReasonAlreadyExists)
		return
	case s.Lease == nil:
		status(http.StatusNotFound, metav1.StatusReasonNotFound)
		return
	case r.Method == http.MethodDelete:
		var o metav1.DeleteOptions
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil || o.Preconditions != nil && *o.Preconditions.ResourceVersion != s.Lease.ResourceVersion {
			status(http.StatusConflict, metav1.StatusReasonConflict)
			return
		}
		s.Lease = nil
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: "Success"})
		return
	case r.Method == http.MethodPut:
		var lease coordv1.Lease
		if err := json.NewDecoder(r.Body).Decode(&lease); err != nil || lease.ResourceVersion != s.Lease.ResourceVersion {
			status(http.StatusConflict, metav1.StatusReasonConflict)
			return
		}
		s.Renewals++
		lease.ResourceVersion += "1"
		s.Lease = &lease
	}
	_ = json.NewEncoder(w).Encode(s.Lease)
	if r.Method == http.MethodGet && s.Late > 0 && s.Lease != nil {
		s.Late--
		s.Lease.ResourceVersion += "1"
	}
}

// Held is a Lease in namespace a that somebody holds.
func Held(name, by string) *coordv1.Lease {
	return &coordv1.Lease{TypeMeta: metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "a", ResourceVersion: "1"}, Spec: coordv1.LeaseSpec{HolderIdentity: &by}}
}
