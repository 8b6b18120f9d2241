"""Gateway API objects in, plan and statuses out. Pure: no I/O, no clock, no randomness; imports nothing of ours.

The way through: `decode`, one object each -> `resolved` (`inventory` -> `gateways` -> `conflicts` -> `attach` ->
`references`, `policies` -> `conditions`) -> Plan and Statuses, and `resolved_after` when little has changed; beside it
`endpoints`, since endpoints change far more often than routes.
"""
