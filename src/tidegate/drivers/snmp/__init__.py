"""Counters of switches' and routers' ports, read by SNMP version 2c or 3; needs the extra `snmp`."""
