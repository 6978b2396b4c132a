"""SSH 2 without sockets: packets, key exchange, keys, and the messages of login and channels.

Source    RFC 4251 to 4254, 4419 and later: 5656 and 8731 (elliptic curves), 8332 (RSA with SHA-2),
          8308 (EXT_INFO); OpenSSH's PROTOCOL (AES-GCM, strict key exchange) and
          PROTOCOL.chacha20poly1305
Differs   no compression, no Diffie-Hellman over integers, no SHA-1: what gost and OpenSSH of the
          last ten years offer in their place is there
"""
