"""Modbus TCP (MBAP) and RTU: MODBUS Application Protocol Specification V1.1b3, Messaging on TCP/IP Implementation Guide V1.0b.

An address is written ``unit:space:number`` with the space coil, discrete, input or holding and the number counted from 0,
and ``:swap`` behind it where a device sends the low word first: ``1:holding:40072``, ``3:input:12:swap``.
"""
