package keys

import "sigs.k8s.io/yaml"

// encryptionConfiguration is as much of that kind as tells which keys there are. The keys themselves are not looked at.
type encryptionConfiguration struct {
	Kind      string `json:"kind"`
	Resources []struct {
		Providers []struct {
			AESCBC    *namedKeys `json:"aescbc"`
			AESGCM    *namedKeys `json:"aesgcm"`
			Secretbox *namedKeys `json:"secretbox"`
			KMS       *Plugin    `json:"kms"`
		} `json:"providers"`
	} `json:"resources"`
}

type namedKeys struct {
	Keys []struct {
		Name string `json:"name"`
	} `json:"keys"`
}

// Cipher is a provider (aescbc, aesgcm, secretbox, kms) and the name of its key, or of the KMS plugin.
type Cipher struct{ Provider, Key string }

// Ciphers are those that an EncryptionConfiguration knows.
func Ciphers(text string) ([]Cipher, error) {
	var c encryptionConfiguration
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	return c.ciphers(), nil
}

// Plugin is a KMS plugin: its name, and the socket where it is asked, such as unix:///var/run/kms.sock.
type Plugin struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
}

// Plugins are the KMS plugins that an EncryptionConfiguration knows.
func Plugins(text string) (out []Plugin, err error) {
	var c encryptionConfiguration
	if err := yaml.Unmarshal([]byte(text), &c); err != nil {
		return nil, err
	}
	for _, r := range c.Resources {
		for _, p := range r.Providers {
			if p.KMS != nil {
				out = append(out, *p.KMS)
			}
		}
	}
	return out, nil
}

func (c *encryptionConfiguration) ciphers() (out []Cipher) {
	for _, r := range c.Resources {
		for _, p := range r.Providers {
			for _, named := range []struct {
				provider string
				keys     *namedKeys
			}{{"aescbc", p.AESCBC}, {"aesgcm", p.AESGCM}, {"secretbox", p.Secretbox}} {
				if named.keys == nil {
					continue
				}
				for _, k := range named.keys.Keys {
					out = append(out, Cipher{named.provider, k.Name})
				}
			}
			if p.KMS != nil {
				out = append(out, Cipher{"kms", p.KMS.Name})
			}
		}
	}
	return out
}
