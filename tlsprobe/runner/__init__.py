"""Schedules trials: reaches a target, opens its connections in order, has each one judged."""
