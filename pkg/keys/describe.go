package keys

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/kubectl-etcd/kubectl-etcd/pkg/snapshot"
)

// describe says what a file is, by its content, and which: never its content. Of several certificates in a file the first is told.
func describe(data []byte) snapshot.Key {
	if k, ok := describePEM(data); ok {
		return k
	}
	var doc struct {
		encryptionConfiguration
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return snapshot.Key{Kind: snapshot.KeyOther}
	}
	switch doc.Kind {
	case "EncryptionConfiguration", "EncryptionConfig": // which it was called first
		var names []string
		for _, c := range doc.ciphers() {
			names = append(names, c.Provider+" "+c.Key)
		}
		return snapshot.Key{Kind: snapshot.KeyEncryption, Name: strings.Join(names, ", ")}
	case "Pod":
		return snapshot.Key{Kind: snapshot.KeyManifest, Name: doc.Metadata.Name}
	}
	return snapshot.Key{Kind: snapshot.KeyOther, Name: doc.Kind}
}

func describePEM(data []byte) (snapshot.Key, bool) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return snapshot.Key{}, false
		}
		if b.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return snapshot.Key{Kind: snapshot.KeyCertificate}, true
			}
			return snapshot.Key{Kind: snapshot.KeyCertificate, Name: cert.Subject.String(), Expires: &cert.NotAfter, Fingerprint: fingerprint(b.Bytes)}, true
		}
		if strings.HasSuffix(b.Type, "PRIVATE KEY") {
			return snapshot.Key{Kind: snapshot.KeyPrivate, Fingerprint: publicOf(b.Bytes)}, true
		}
		if strings.HasSuffix(b.Type, "PUBLIC KEY") {
			return snapshot.Key{Kind: snapshot.KeyPublic, Fingerprint: public(b.Bytes)}, true
		}
	}
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// publicOf is the fingerprint of a private key's public half, the same as its public key's has; "" where it cannot be read.
func publicOf(der []byte) string {
	var key any
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		key = k
	} else if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		key = k
	} else if k, err := x509.ParseECPrivateKey(der); err == nil {
		key = k
	}
	var half any
	switch k := key.(type) {
	case *rsa.PrivateKey:
		half = k.Public()
	case *ecdsa.PrivateKey:
		half = k.Public()
	case ed25519.PrivateKey:
		half = k.Public()
	}
	spki, err := x509.MarshalPKIXPublicKey(half)
	if err != nil {
		return ""
	}
	return fingerprint(spki)
}

// public is the fingerprint of a public key in either of its forms.
func public(der []byte) string {
	if k, err := x509.ParsePKCS1PublicKey(der); err == nil {
		if der, err = x509.MarshalPKIXPublicKey(k); err != nil {
			return ""
		}
	}
	return fingerprint(der)
}
