"""Names of services as programs print them in place of ports.

Which names tcpdump and Wireshark print depends on the tables of the machine that they ran on; the
machine that reads the text may have smaller ones, or none.

Source: IANA's registry of service names, and what Debian's, nmap's and Wireshark's tables say
beside it.
"""

from __future__ import annotations

_COMMON = {
    **{"ssh": 22, "smtp": 25, "domain": 53, "http": 80, "pop3": 110, "imap2": 143, "imap": 143},
    **{"ldap": 389, "https": 443, "submissions": 465, "urd": 465, "submission": 587, "ldaps": 636},
    **{"imaps": 993, "pop3s": 995, "mysql": 3306, "postgresql": 5432, "amqp": 5672, "amqps": 5671},
    **{"redis": 6379, "http-alt": 8080, "https-alt": 8443, "secure-mqtt": 8883, "mqtt": 1883},
    **{"ftp": 21, "ftps": 990, "sip-tls": 5061, "ms-sql-s": 1433, "webcache": 8080},
    **{"telnet": 23, "kerberos": 88, "sunrpc": 111, "nntp": 119, "netbios-ssn": 139, "bgp": 179},
    **{"microsoft-ds": 445, "nfs": 2049, "ms-wbt-server": 3389, "sip": 5060, "ircd": 6667},
    **{"http-proxy": 3128, "kafka": 9092, "mongodb": 27017},
}

_RARER = {
    **{"ftp-data": 20, "time": 37, "whois": 43, "nicname": 43, "tacacs": 49, "gopher": 70},
    **{"finger": 79, "www": 80, "www-http": 80, "rpcbind": 111, "portmapper": 111, "auth": 113},
    **{"ident": 113, "epmap": 135, "loc-srv": 135, "msrpc": 135, "snmp": 161, "irc": 194},
    **{"svrloc": 427, "kpasswd": 464, "smtps": 465, "ssmtp": 465, "rtsp": 554, "nntps": 563},
    **{"msa": 587, "ipp": 631, "domain-s": 853, "iscsi": 860, "rsync": 873, "ftps-data": 989},
    **{"telnets": 992, "ircs": 994, "socks": 1080, "openvpn": 1194, "ms-sql-m": 1434},
    **{"ncube-lm": 1521, "h323hostcall": 1720, "pptp": 1723, "ibm-mqisdp": 1883},
    **{"cisco-sccp": 2000, "eforward": 2181, "docker": 2375, "docker-s": 2376},
    **{"etcd-client": 2379, "etcd-server": 2380, "hbci": 3000, "ndl-aas": 3128, "squid": 3128},
    **{"iscsi-target": 3260, "svn": 3690, "epmd": 4369, "commplex-main": 5000, "sips": 5061},
    **{"commplex-link": 5001, "xmpp-client": 5222, "xmpp-server": 5269, "postgres": 5432},
    **{"personal-agent": 5555, "rfb": 5900, "vnc-server": 5900, "couchdb": 5984, "wsman": 5985},
    **{"wsmans": 5986, "x11": 6000, "pgbouncer": 6432, "sun-sr-https": 6443, "mysql-proxy": 6446},
    **{"ircs-u": 6697, "afs3-fileserver": 7000, "afs3-callback": 7001, "irdmi": 8000},
    **{"teradataordbms": 8002, "tproxy": 8081, "sunproxyadmin": 8081, "us-cli": 8082},
    **{"us-srv": 8083, "radan-http": 8088, "opsmessaging": 8090, "intermapper": 8181},
    **{"pcsync-https": 8443, "pcsync-http": 8444, "ddi-tcp-1": 8888, "cslistener": 9000},
    **{"websm": 9090, "zeus-admin": 9090, "xmlipcregsvc": 9092, "jetdirect": 9100},
    **{"hp-pdl-datastr": 9100, "pdl-datastream": 9100, "wap-wsp": 9200, "vrace": 9300},
    **{"tungsten-https": 9443, "git": 9418, "snet-sensor-mgmt": 10000, "webmin": 10000},
    **{"zabbix-agent": 10050, "zabbix-trapper": 10051, "memcache": 11211},
}

SERVICE_PORTS = frozenset(_COMMON.values())
"""Ports that hardly any client has."""


def port_of_service(name: str) -> int | None:
    """The port of a service, None if the name is not of these."""
    lowered = name.lower()
    return _COMMON.get(lowered) or _RARER.get(lowered)
