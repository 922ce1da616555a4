"""An `up` of several processes: it decides, and starts and watches agents and a fleet manager beside it."""
