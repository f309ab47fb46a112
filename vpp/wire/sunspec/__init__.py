"""SunSpec over Modbus: registers generated from the model definitions that the SunSpec Alliance ships in pysunspec2.

SunSpec Device Information Model Specification V1.1 (types, scale factors, not-implemented values, discovery) and SunSpec
DER Information Model Specification V1.0 (models 701 to 715, adoption of curves, reversion).
"""
