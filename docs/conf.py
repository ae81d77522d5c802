"""Settings of the documentation: ``python -m sphinx -W --keep-going -b html docs docs/_build``."""

import urllib.request

import xmm_jax

project = "xmm_jax"
author = "The xmm_jax developers"
copyright = author
release = xmm_jax.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.coverage",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "xmm_jax"
html_static_path = ["static"]
html_css_files = ["site.css"]
smartquotes = False  # 2" is two arcsec
html_show_sourcelink = False

# Every module gets a page, every public name in it an entry.
apidoc_modules = [
    {
        "path": "../xmm_jax",
        "destination": "api",
        "separate_modules": True,
        "module_first": True,
        "max_depth": 1,
        "exclude_patterns": ["../xmm_jax/weights"],
    }
]
autodoc_default_options = {"members": True, "member-order": "bysource", "ignore-module-all": True}
autodoc_typehints = "none"  # the docstrings say it, with units
numpydoc_show_class_members = False
default_role = "obj"  # `name` is a link where there is such a name
# A public name without documentation: ``python -m sphinx -q -W -b coverage docs docs/_build``.
coverage_modules = ["xmm_jax"]
coverage_show_missing_items = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Notebooks are run at every build, and an error in one is an error of the build.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True


def _reached(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}objects.inv", timeout=5).close()
    except OSError:
        return False
    return True


_OTHERS = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "astropy": "https://docs.astropy.org/en/stable/",
    "jax": "https://docs.jax.dev/en/latest/",
}
# Without a network names of other libraries are text, and the build still has no warnings.
intersphinx_mapping = {name: (url, None) for name, url in _OTHERS.items() if _reached(url)}
