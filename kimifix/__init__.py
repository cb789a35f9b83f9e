"""Get a locked-out kimi-code working again, exactly and reversibly.

The way of the data, one way, is also the way of the imports:

    observe                      decide (pure)              act                report
    client/  server/probe   ->   checks  config/      ->    config/storage ->  output
             client/capture      server/answers

``cli`` turns options into one call of a verb. The verbs ``apply``, ``revert`` and
``doctor`` each tell the story of one command from top to bottom. They and their helpers
are the only modules that join the three floors: ``surroundings``, ``credentials`` and
``draft`` lead to what `apply` writes; ``facts``, ``checks/``, ``probing`` and ``capturing``
to what `doctor` says.

- ``client/`` knows kimi-code on this machine: home, installs, login, logs.
- ``server/`` knows the Kimi API: what to ask and what an answer means.
- ``config/`` knows the change and how it reaches the disk.

The floors do not import one another. ``errors`` and ``secret`` import nothing of ours.
"""

__version__ = "0.1.0"
