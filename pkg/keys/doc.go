// Package keys finds what decrypts and identifies beside a snapshot: certificates and their keys, EncryptionConfigurations,
// manifests. It packs them, and unpacks them again.
package keys
