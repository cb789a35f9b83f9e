"""The formula for a Homebrew tap."""

from __future__ import annotations

import re
from pathlib import Path

from wheels import HOMEPAGE, address, metadata, sha256

_FORMULA = """\
class Kimifix < Formula
  include Language::Python::Virtualenv

  desc "{summary}"
  homepage "{homepage}"
  url "{url}"
  sha256 "{sha256}"
  license "{license}"

  depends_on "python@{python}"
{resources}
  def install
    virtualenv_install_with_resources
    generate_completions_from_executable(bin/"kimifix", "completion")
  end

  test do
    assert_match version.to_s, shell_output("#{{bin}}/kimifix --version")
    system bin/"kimifix", "apply", "--sandbox", "--yes"
  end
end
"""
_RESOURCE = """
  resource "{name}" do
    url "{url}"
    sha256 "{sha256}"
  end
"""


def make_formula(sdist: Path, wheel: Path, dependencies: list[Path], out: Path) -> None:
    """Write the formula that builds ``sdist`` and installs ``dependencies`` as they are.

    Homebrew takes pure wheels as resources; so no build tool of a dependency is needed.
    """
    about = metadata(wheel)
    versions = re.findall(r":: 3\.(\d+)$", "\n".join(about.get_all("Classifier", [])), re.MULTILINE)
    resources = (
        _RESOURCE.format(name=metadata(path)["Name"], url=address(path), sha256=sha256(path))
        for path in dependencies
    )
    formula = _FORMULA.format(
        summary=re.sub(r" \(.*?\)", "", about["Summary"]),  # 80 characters at most
        homepage=HOMEPAGE,
        url=address(sdist),
        sha256=sha256(sdist),
        license=about["License-Expression"],
        python=f"3.{max(map(int, versions))}",
        resources="".join(resources),
    )
    out.write_text(formula, encoding="utf-8")
