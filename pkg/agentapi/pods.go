package agentapi

// RequestEndPod ends the processes of another pod of the agent's node: EndPodRequest → EndPodReply. Its kubelet starts them again.
const RequestEndPod = "end-pod"

// EndPodRequest names a static pod by the hash of its manifest, which is in the name of its processes' group.
type EndPodRequest struct {
	Hash string `json:"hash"`
	// GraceMillis is how long they may take to end by themselves before they are killed.
	GraceMillis int `json:"graceMillis,omitempty"`
}

// EndPodReply is what was ended; nothing where none of them ran.
type EndPodReply struct {
	PIDs []int `json:"pids,omitempty"`
}
