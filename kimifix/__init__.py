"""Get a locked-out kimi-code working again, exactly and reversibly.

The way of the data, one way, is also the way of the imports:

             observe           decide (pure)                 act               report
    doctor   machine       ->  doctor/: checks, findings ->  (never writes) -> output
    apply    machine, base ->  draft: base + change      ->  consent        -> output
    revert   machine, base ->  base                      ->  consent        -> output

``base`` is the config as it would be without kimifix: `revert` is `apply` of nothing.
``cli`` turns options into one call of a verb; ``apply``, ``revert`` and ``doctor/`` each
tell the story of one command from top to bottom. What joins the floors is called by what
it does: ``machine``, ``steps`` (what to type), ``outgoing`` (what the client sends),
``credentials``, ``draft``, ``consent``, ``ask`` (the server), ``verify`` (let the client ask).

- ``client/`` knows kimi-code on this machine: home, installs, login, logs, what it sends.
- ``server/`` knows the Kimi API: what to ask and what an answer means.
- ``config/`` knows the change and how it reaches the disk.

The floors do not import one another. ``errors``, ``secret``, ``reader`` and ``words``
import nothing.

    What is changed, the header too?     config/routes; as text and proved: config/patch
    Who may write the config?            config/storage alone, when consent has agreed
    What if it is killed there?          the docstring of config/storage
    What is the config without us?       config/reading
    Where is a 403 explained?            server/answers.toml; all together: server/judgement
    What does doctor look at?            CHECKS in doctor/
    Who sees the environment, stdout?    client/home, terminal
    Who says it in Chinese?              language, catalogue; all sentences: locale/
"""

__version__ = "0.1.0"
