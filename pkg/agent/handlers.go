//go:build linux

package agent

import (
	"github.com/kubectl-etcd/kubectl-etcd/pkg/agentapi"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/datadir"
	"github.com/kubectl-etcd/kubectl-etcd/pkg/frame"
)

// Handlers is everything this agent can do, by the name of the request.
func Handlers() map[string]Handler {
	return map[string]Handler{
		frame.RequestRead:  readFile,
		frame.RequestWrite: writeFile,
		frame.RequestStat:  statFile,
		frame.RequestList:  listFiles,

		agentapi.RequestQuery:    query,
		agentapi.RequestSnapshot: takeSnapshot,
		agentapi.RequestRaw:      rawCopy,
		agentapi.RequestRehearse: rehearseFile,

		agentapi.RequestHold:      hold,
		agentapi.RequestServeEtcd: serveEtcd,
		agentapi.RequestServeAPI:  serveAPI,

		agentapi.RequestPuts:     puts,
		agentapi.RequestIdentity: identity,
		agentapi.RequestDisarm:   disarm,

		agentapi.RequestMembership: membership,

		agentapi.RequestInspect:  onDataDir(inspectData),
		agentapi.RequestPrepare:  onDataDir(prepareData),
		agentapi.RequestUnpack:   onDataDir(unpackFile),
		agentapi.RequestBuild:    onDataDir(datadir.Build),
		agentapi.RequestExchange: onDataDir(exchangeData),
		agentapi.RequestDiscard:  onDataDir(discardData),
		agentapi.RequestDrop:     onDataDir(dropData),
		agentapi.RequestSeed:     onDataDir(datadir.Seed),
		agentapi.RequestHot:      hotExchange,
		agentapi.RequestThaw:     onDataDir(thawData),
		agentapi.RequestHotCheck: onDataDir(checkHot),
		agentapi.RequestNote:     onDataDir(note),
		agentapi.RequestEndPod:   endPod,
	}
}
