package datadir

import "errors"

// ErrJoined: the member has joined its cluster by itself, so its data must stay.
var ErrJoined = errors.New("member has joined its cluster by itself")

// SeedRequest says who a member will be.
type SeedRequest struct {
	Place
	// ClusterID and MemberID are hexadecimal, as etcdctl prints them.
	ClusterID string `json:"clusterID"`
	MemberID  string `json:"memberID"`
}
