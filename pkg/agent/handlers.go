//go:build linux

package agent

import (
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// Handlers is everything this agent can do, by the name of the request.
func Handlers() map[string]Handler {
	return map[string]Handler{
		frame.RequestRead:  readFile,
		frame.RequestWrite: writeFile,
		frame.RequestStat:  statFile,

		RequestQuery:    query,
		RequestSnapshot: takeSnapshot,
		RequestRaw:      rawCopy,
		RequestRehearse: rehearseFile,

		RequestPuts:     puts,
		RequestIdentity: identity,
		RequestDisarm:   disarm,

		RequestMembership: membership,

		RequestInspect:  onDataDir(inspectData),
		RequestPrepare:  onDataDir(prepareData),
		RequestUnpack:   onDataDir(unpackFile),
		RequestBuild:    onDataDir(datadir.Build),
		RequestExchange: onDataDir(exchangeData),
		RequestDiscard:  onDataDir(discardData),
		RequestDrop:     onDataDir(dropData),
		RequestSeed:     onDataDir(datadir.Seed),
		RequestHot:      hotExchange,
		RequestThaw:     onDataDir(thawData),
		RequestHotCheck: onDataDir(checkHot),
	}
}
