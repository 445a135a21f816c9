package sshtest

import (
	"bytes"
	"errors"

	"golang.org/x/crypto/ssh"
)

var errDenied = errors.New("denied")

func (s *Server) serverConfig() *ssh.ServerConfig {
	o := s.options
	checker := ssh.CertChecker{
		IsUserAuthority: s.authorized,
		UserKeyFallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if s.authorized(key) {
				return nil, nil
			}
			return nil, errDenied
		},
	}
	config := &ssh.ServerConfig{MaxAuthTries: o.MaxAuthTries}
	config.PublicKeyCallback = func(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if s.logins.Add(1) <= int64(o.DropLogins) {
			s.DropAll()
		}
		return checker.Authenticate(conn, key)
	}
	if o.Password != "" {
		config.PasswordCallback = func(_ ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
			s.logins.Add(1)
			if string(password) != o.Password {
				return nil, errDenied
			}
			return nil, nil
		}
	}
	if o.Interactive != "" {
		config.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil {
				return nil, err
			}
			s.logins.Add(1)
			if len(answers) != 1 || answers[0] != o.Interactive {
				return nil, errDenied
			}
			// PAM often ends with a round that asks nothing.
			_, err = ask("", "welcome", nil, nil)
			return nil, err
		}
	}
	return config
}

func (s *Server) authorized(key ssh.PublicKey) bool {
	for _, k := range s.options.AuthorizedKeys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return true
		}
	}
	return false
}
