"""Stateful face collections for moto: ``install()`` puts them behind ``mock_aws``.

moto has no place for extensions, so ``install`` swaps the one attribute through which moto finds
its Rekognition, and adds the endpoints moto does not know (FIPS, dual stack). moto's own answers
are inherited: what it could do before it still does. Importing this package changes nothing.

``models``, ``urls`` and ``responses`` bear the names moto looks for beside a backend.
"""
