"""Rekognition's wire contract over any ``Recognizer``.

``service`` answers one request without a transport, ``server`` puts it behind HTTP. A request takes
this way: ``model`` (botocore's description of the operations) -> ``codec`` (JSON to checked values)
-> one function of ``operations`` -> ``codec`` (checked values to JSON); every failure leaves
through ``faults``.
"""
