"""A gateway with pyrad: tells of one SIM's sessions, and prints which requests were answered as they should be.

Argument: the server's port. pyrad checks every answer's authenticators itself.
"""

import io
import json
import sys

from pyrad import packet
from pyrad.client import Client, Timeout
from pyrad.dictionary import Dictionary

DICTIONARY = """
ATTRIBUTE User-Name 1 string
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Proxy-State 33 octets
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Session-Id 44 string
ATTRIBUTE Message-Authenticator 80 octets
ATTRIBUTE Framed-IPv6-Prefix 97 ipv6prefix
VALUE Acct-Status-Type Start 1
VALUE Acct-Status-Type Stop 2
VALUE Acct-Status-Type Interim-Update 3
VALUE Acct-Status-Type Accounting-On 7
VENDOR 3GPP 10415
BEGIN-VENDOR 3GPP
ATTRIBUTE 3GPP-IMSI 1 string
ATTRIBUTE 3GPP-IMEISV 20 string
END-VENDOR 3GPP
"""

PORT = int(sys.argv[1])


def client(secret):
    made = Client(server="127.0.0.1", acctport=PORT, secret=secret, dict=Dictionary(io.StringIO(DICTIONARY)))
    made.timeout = 1
    made.retries = 1 if secret == b"wrong" else 10
    return made


def is_answered(secret, status, is_signed=False, **attributes):
    """Whether a request is answered; attributes' names with underscores."""
    made = client(secret)
    request = made.CreateAcctPacket()
    request["Acct-Status-Type"] = status
    request["NAS-Identifier"] = "pyrad-gateway"
    for name, value in attributes.items():
        request[name.replace("_", "-").removeprefix("X-")] = value
    if is_signed:
        request.add_message_authenticator()
    try:
        reply = made.SendPacket(request)
    except Timeout:
        return False
    assert reply.code == packet.AccountingResponse
    assert reply.get(33, []) == request.get(33, []), reply
    return True


def session(number, address):
    return {
        "Acct_Session_Id": f"session-{number}",
        "Called_Station_Id": "iot.example",
        "Framed_IP_Address": address,
        "X_3GPP_IMSI": f"44010000000000{number}",
    }


right = b"pyrad-hush"
print(json.dumps({
    "on": is_answered(right, "Accounting-On"),
    "start": is_answered(right, "Start", True, **session(1, "10.7.0.1"), Framed_IPv6_Prefix="2001:db8:7::/64",
                         X_3GPP_IMEISV="2605317931138301", Proxy_State=[b"one", b"two"]),
    "interim": is_answered(right, "Interim-Update", **session(2, "10.7.0.2")),
    "other_start": is_answered(right, "Start", **session(3, "10.7.0.3")),
    "stop": is_answered(right, "Stop", **session(3, "10.7.0.3")),
    "wrong": is_answered(b"wrong", "Start", **session(4, "10.7.0.4")),
}))
