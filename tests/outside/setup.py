"""Someone else's package that calls the C kernels of an installed hmimo_fast."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import hmimo_fast

setup(
    name="outside",
    ext_modules=cythonize(
        Extension("outside", ["outside.pyx"], include_dirs=[hmimo_fast.get_include()])
    ),
)
