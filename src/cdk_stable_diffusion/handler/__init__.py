"""The API's Lambda function: entry, then logic, then AWS.

Standard library and boto3 only, which Lambda ships, so that its asset needs nothing installed.
"""
