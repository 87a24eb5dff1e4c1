package site

// The kinds of steps, which name their actions in the journal.
const (
	KindAsk        = "ask"
	KindInspect    = "inspect"
	KindSafety     = "safety"
	KindBuild      = "build"
	KindBudgetAway = "budget-away"
	KindBudgetBack = "budget-back"
	KindPause      = "pause"
	KindUnpause    = "unpause"
	KindParallel   = "parallel"
	KindOrdered    = "ordered"
	KindRetain     = "retain"
	KindRetainBack = "retain-back"
	KindWriterDown = "writer-down"
	KindWriterUp   = "writer-up"
	KindQuiet      = "quiet"
	KindEtcdDown   = "etcd-down"
	KindDrop       = "drop"
	KindSwitch     = "switch"
	KindRelease    = "release"
	KindEtcdUp     = "etcd-up"
	KindAlarms     = "alarms"
	KindServe      = "serve"
	KindCaches     = "caches"
	KindCompare    = "compare"
	KindRestart    = "restart"
	KindFinish     = "finish"
)

// The kinds of steps that only a hot restore has. Budgets, writers and the StatefulSet are not touched by it.
const (
	KindHotCheck  = "hot-check"
	KindHotSwitch = "hot-switch"
	KindHotUp     = "hot-up"
	KindHotServe  = "hot-serve"
)

// The kinds of steps of a replacement; their ids are as in a restore.
const (
	KindReplaceInspect = "replace-inspect"
	KindLeave          = "leave"
	KindJoin           = "join"
	KindSeed           = "seed"
	KindReplaceSwitch  = "replace-switch"
	KindRestartPod     = "restart-pod"
	KindSync           = "sync"
)
